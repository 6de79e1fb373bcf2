package crash

import (
	"encoding/json"
	"fmt"
)

// permits are what the journal tells of approvals and grants.
type permits struct {
	calls map[string]permit // of intents whose end is not known, or that ran
	ran   map[string]int    // runs by an approval
	used  map[string]int    // runs by a grant
	given map[string]int    // uses that a grant has
	voted map[string]bool   // approvals that somebody has given
	owed  map[string]bool   // those with which a grant was given that is not made yet
}

// permit is why a call was let run.
type permit struct {
	ApprovalID string   `json:"approval_id"`
	Grants     []string `json:"grants"`
}

func newPermits() permits {
	return permits{calls: map[string]permit{}, ran: map[string]int{}, used: map[string]int{}, given: map[string]int{}, voted: map[string]bool{}, owed: map[string]bool{}}
}

// note takes a record.
func (p *permits) note(r *record) error {
	var data struct {
		Event   string `json:"event"`
		ID      string `json:"id"`
		Outcome string `json:"outcome"`
		Permit  permit `json:"permit"`
		Vote    struct {
			Grant *struct{} `json:"grant"`
		} `json:"vote"`
		Grant struct {
			ID         string `json:"id"`
			ApprovalID string `json:"approval_id"`
			Terms      struct {
				Uses int `json:"uses"`
			} `json:"terms"`
		} `json:"grant"`
	}
	switch r.Kind {
	case "intent", "outcome", "approval", "grant":
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return err
		}
	}
	switch {
	case r.Kind == "intent":
		p.calls[r.CallID] = data.Permit
		p.count(data.Permit, 1)
	case r.Kind == "outcome" && data.Outcome == "NOT_RUN":
		p.count(p.calls[r.CallID], -1)
	case r.Kind == "approval" && data.Event == "voted":
		p.voted[data.ID] = true
		p.owed[data.ID] = data.Vote.Grant != nil
	case r.Kind == "grant" && data.Event == "given":
		p.given[data.Grant.ID] = data.Grant.Terms.Uses
		p.owed[data.Grant.ApprovalID] = false
	}
	return nil
}

func (p *permits) count(by permit, n int) {
	if by.ApprovalID != "" {
		p.ran[by.ApprovalID] += n
	}
	for _, id := range by.Grants {
		p.used[id] += n
	}
}

// wrong tells what was let run more often than it might, and which answers are gone that
// approvers were told to have given.
func (p *permits) wrong(yes map[string]bool) (out []string) {
	for id, n := range p.ran {
		if n > 1 {
			out = append(out, fmt.Sprintf("%d calls ran by the approval %s", n, id))
		}
		if !p.voted[id] {
			out = append(out, fmt.Sprintf("a call ran by the approval %s, which nobody has given", id))
		}
	}
	for id, n := range p.used {
		if n > p.given[id] {
			out = append(out, fmt.Sprintf("the grant %s was used %d times, it has %d uses", id, n, p.given[id]))
		}
	}
	for id, owed := range p.owed {
		if owed {
			out = append(out, fmt.Sprintf("the grant that was given with the approval %s was never made", id))
		}
	}
	for id := range yes {
		if !p.voted[id] {
			out = append(out, fmt.Sprintf("the approval %s was acknowledged and is not in the journal", id))
		}
	}
	return out
}

// decided notes that an approver was told that his yes counts.
func (b *book) decided(approval string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.yes[approval] = true
}

// counts of what went by permits, for the table.
func (p *permits) String() string {
	used := 0
	for _, n := range p.used {
		used += n
	}
	return fmt.Sprintf("approvals: %d given, %d calls ran by them; grants: %d given, %d calls ran by them", len(p.voted), len(p.ran), len(p.given), used)
}
