package spool

// track is what is kept of one stream: in memory as parts, in a file as a head
// and a ring. All offsets are of the stream.
type track struct {
	end int64 // of what came

	parts []part // in memory: what came without a gap, oldest first

	filed    bool
	headSize int64 // of the head; less once a gap has ended it
	headEnd  int64 // the head holds what is before
	ringBase int64 // where the ring begins in the region
	ringSize int64
	ringFrom int64 // the ring holds what is from here to end
}

// part is a stretch of a stream in memory.
type part struct {
	start int64
	data  []byte
	page  *page // data's memory; nil: it is data's own and grows
}

func (p part) end() int64 { return p.start + int64(len(p.data)) }

// advance moves the end to where the next bytes come.
func (k *track) advance(offset int64) {
	if offset == k.end {
		return
	}
	if k.filed {
		k.headSize = min(k.headSize, k.headEnd) // what follows a gap is no head
		k.ringFrom = offset
	}
	k.end = offset
}

// giveBack lets go of a part's memory.
func (p part) giveBack(to *pages) {
	if p.page != nil {
		to.pool.Put(p.page)
	}
}

// remember keeps data in memory, in pages if there are any, and returns how many bytes
// that took.
func (k *track) remember(data []byte, from *pages) int {
	took := len(data)
	for len(data) > 0 {
		n := len(k.parts)
		room := 0
		if n > 0 && k.parts[n-1].end() == k.end {
			room = len(data)
			if last := &k.parts[n-1]; last.page != nil || from != nil {
				room = min(room, cap(last.data)-len(last.data))
			}
		}
		if room == 0 {
			p := part{start: k.end}
			room = len(data)
			if from != nil {
				p.page = from.get()
				p.data = p.page[:0]
				room = min(room, len(p.page))
			}
			k.parts = append(k.parts, p)
			n++
		}
		k.parts[n-1].data = append(k.parts[n-1].data, data[:room]...)
		data, k.end = data[room:], k.end+int64(room)
	}
	return took
}

// empty forgets what is in memory.
func (k *track) empty(files *Files) {
	for _, p := range k.parts {
		p.giveBack(&files.pages)
	}
	k.parts = nil
}

// dropOldest lets go of at least n bytes in memory, if there are, and returns how
// many those were.
func (k *track) dropOldest(n int) int {
	gone := 0
	for len(k.parts) > 0 && gone < n {
		p := &k.parts[0]
		cut := min(len(p.data), n-gone)
		if cut == len(p.data) {
			k.parts = k.parts[1:] // a page of it is the collector's
		} else {
			p.start, p.data = p.start+int64(cut), p.data[cut:] // append lets go of the rest when it grows
		}
		gone += cut
	}
	return gone
}

// layOut begins to keep the stream in a region of a file: its first half is the
// head, the rest the ring.
func (k *track) layOut(region int64) {
	*k = track{end: k.end, filed: true, headSize: region / 2, ringBase: region / 2, ringSize: region - region/2}
}

// place writes data at the end of the track.
func (k *track) place(data []byte, write func(p []byte, at int64) error) error {
	if k.end == k.headEnd && k.headEnd < k.headSize {
		n := min(int64(len(data)), k.headSize-k.headEnd)
		if err := write(data[:n], k.end); err != nil {
			k.end += int64(len(data))
			return err
		}
		k.headEnd += n
		k.end += n
		k.ringFrom = k.end
		data = data[n:]
	}
	var first error
	if over := int64(len(data)) - k.ringSize; over > 0 {
		k.end += over
		data = data[over:]
	}
	for len(data) > 0 {
		at := k.end % k.ringSize
		n := min(int64(len(data)), k.ringSize-at)
		if err := write(data[:n], k.ringBase+at); err != nil && first == nil {
			first = err
		}
		k.end += n
		data = data[n:]
	}
	k.ringFrom = max(k.ringFrom, k.end-k.ringSize)
	return first
}

// lose forgets what the ring has: it could not be written.
func (k *track) lose() {
	k.headSize = min(k.headSize, k.headEnd)
	k.ringFrom = k.end
}

func (k *track) clear() {
	*k = track{end: k.end, filed: true, ringSize: 1, ringFrom: k.end}
}

func (k *track) kept() int64 {
	if k.filed {
		return k.headEnd + max(k.end-max(k.ringFrom, k.headEnd), 0)
	}
	var n int64
	for _, p := range k.parts {
		n += int64(len(p.data))
	}
	return n
}

// find returns the first kept bytes in [from, to): where they begin and how many
// there are without a gap.
func (k *track) find(from, to int64) (at, n int64) {
	if k.filed {
		if from < k.headEnd {
			return from, min(to, k.headEnd) - from
		}
		at = max(from, k.ringFrom)
		return at, max(min(to, k.end)-at, 0)
	}
	for _, p := range k.parts {
		if p.end() <= from {
			continue
		}
		at = max(from, p.start)
		return at, max(min(to, p.end())-at, 0)
	}
	return to, 0
}

// recall copies bytes that find has found in memory.
func (k *track) recall(at int64, buf []byte) {
	for _, p := range k.parts {
		if p.end() > at {
			copy(buf, p.data[at-p.start:])
			return
		}
	}
}

// fetch reads bytes that find has found in the file.
func (k *track) fetch(at int64, buf []byte, read func(p []byte, at int64) error) error {
	if at < k.headEnd {
		return read(buf, at)
	}
	for len(buf) > 0 {
		where := at % k.ringSize
		n := min(int64(len(buf)), k.ringSize-where)
		if err := read(buf[:n], k.ringBase+where); err != nil {
			return err
		}
		at, buf = at+n, buf[n:]
	}
	return nil
}
