package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Of the NBD protocol, as far as qemu's client needs it: see "The NBD protocol" in
// doc/proto.md of NetworkBlockDevice/nbd.
const (
	nbdMagic       = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOption      = 0x49484156454f5054 // "IHAVEOPT"
	nbdOptionReply = 0x3e889045565a9
	nbdRequest     = 0x25609513
	nbdReply       = 0x67446698

	nbdFixedNewstyle, nbdNoZeroes = 1, 2

	nbdOptAbort, nbdOptInfo, nbdOptGo = 2, 6, 7
	nbdAck, nbdInfo, nbdUnsupported   = 1, 3, 1<<31 + 1
	nbdInfoExport                     = 0

	nbdHasFlags, nbdSendFlush, nbdSendFUA = 1, 4, 8

	nbdRead, nbdWrite, nbdDisconnect, nbdFlush = 0, 1, 2, 3
	nbdFUA                                     = 1

	nbdIOError, nbdInvalid = 5, 22
	nbdMaxBytes            = 32 << 20
)

// serve serves the disk to one client until it goes away, which is no error.
func (d *disk) serve(conn net.Conn) error {
	ready, err := d.shakeHands(conn)
	for err == nil && ready {
		ready, err = d.answer(conn)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil // the power is gone
	}
	return err
}

func put(w io.Writer, values ...any) error {
	for _, v := range values {
		if err := binary.Write(w, binary.BigEndian, v); err != nil {
			return err
		}
	}
	return nil
}

// shakeHands agrees on the disk; false when the client leaves instead.
func (d *disk) shakeHands(conn net.Conn) (bool, error) {
	if err := put(conn, uint64(nbdMagic), uint64(nbdOption), uint16(nbdFixedNewstyle|nbdNoZeroes)); err != nil {
		return false, err
	}
	var flags uint32
	if err := binary.Read(conn, binary.BigEndian, &flags); err != nil {
		return false, err
	}
	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := binary.Read(conn, binary.BigEndian, &option); err != nil {
			return false, err
		}
		if option.Magic != nbdOption || option.Length > 1<<16 {
			return false, fmt.Errorf("nbd: odd option %+v", option)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(option.Length)); err != nil {
			return false, err
		}
		reply := func(kind uint32, length uint32) error {
			return put(conn, uint64(nbdOptionReply), option.Option, kind, length)
		}
		switch option.Option {
		case nbdOptInfo, nbdOptGo: // there is one disk, whatever its name
			err := errors.Join(
				reply(nbdInfo, 12), put(conn, uint16(nbdInfoExport), uint64(d.size), uint16(nbdHasFlags|nbdSendFlush|nbdSendFUA)), //nolint:gosec // not negative
				reply(nbdAck, 0),
			)
			if err != nil || option.Option == nbdOptGo {
				return err == nil, err
			}
		case nbdOptAbort:
			return false, reply(nbdAck, 0)
		default:
			if err := reply(nbdUnsupported, 0); err != nil {
				return false, err
			}
		}
	}
}

// answer serves one request; false when the client says good-bye.
func (d *disk) answer(conn net.Conn) (bool, error) {
	var req struct {
		Magic       uint32
		Flags, Type uint16
		Handle      uint64
		Offset      uint64
		Length      uint32
	}
	if err := binary.Read(conn, binary.BigEndian, &req); err != nil {
		return false, err
	}
	if req.Magic != nbdRequest || req.Length > nbdMaxBytes {
		return false, fmt.Errorf("nbd: odd request %+v", req)
	}
	var data []byte
	code := uint32(0)
	fail := func(err error) {
		if err != nil {
			code, data = nbdIOError, nil
		}
	}
	off := int64(req.Offset) //nolint:gosec // checked by the disk
	switch req.Type {
	case nbdDisconnect:
		return false, nil
	case nbdRead:
		data = make([]byte, req.Length)
		fail(d.read(data, off))
	case nbdWrite:
		p := make([]byte, req.Length)
		if _, err := io.ReadFull(conn, p); err != nil {
			return false, err
		}
		fail(d.write(p, off, req.Flags&nbdFUA != 0))
	case nbdFlush:
		err := d.flush()
		if errors.Is(err, errPowerGone) {
			_, _ = io.Copy(io.Discard, conn) // until the guest is dead: it must not hear of it
			return false, nil
		}
		fail(err)
	default:
		code = nbdInvalid
	}
	if err := put(conn, uint32(nbdReply), code, req.Handle); err != nil {
		return false, err
	}
	_, err := conn.Write(data)
	return err == nil, err
}
