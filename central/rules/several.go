package rules

import "fmt"

// Several are rows of commands that take effect together or not at all: a later
// one finds what the earlier ones have done. A row of more than one command is a
// Several itself. A refusal says which row it is for.
type Several []Command

func (Several) function() Function { return "" }

func (c Several) decide(d *draft) (Answer, *Refusal) {
	if len(c) == 0 || len(c) > MaxRows {
		return Answer{}, malformed("rows: %d of them, not 1 … %d; send them in parts", len(c), MaxRows)
	}
	answer := already()
	for i, command := range c {
		one, refusal := d.severalRow(command)
		if refusal != nil {
			return Answer{}, refusal.inRow(i, len(c))
		}
		if one.Result != ResultAlready {
			answer.Result = one.Result
		}
	}
	return answer, nil
}

func (d *draft) severalRow(c Command) (answer Answer, refusal *Refusal) {
	row, several := c.(Several)
	if !several {
		return d.oneOf(c)
	}
	answer = already()
	for _, command := range row {
		one, refusal := d.oneOf(command)
		if refusal != nil {
			return Answer{}, refusal
		}
		if one.Result != ResultAlready {
			answer = one
		}
	}
	return answer, nil
}

func (d *draft) oneOf(c Command) (Answer, *Refusal) {
	if _, several := c.(Several); several {
		return Answer{}, malformed("rows within rows; send them one after the other")
	}
	if _, reads := c.(reader); reads || c == nil {
		return Answer{}, malformed("it only reads; leave it out")
	}
	if !d.rules.Entitled(d.channel, c, d.now) {
		return Answer{}, NotEntitled()
	}
	return c.decide(d)
}

// inRow adds the number of the row, from 1.
func (r *Refusal) inRow(row, rows int) *Refusal {
	if rows == 1 {
		return r
	}
	detail := ""
	if r.Detail != "" {
		detail = ": " + r.Detail
	}
	r.Detail = fmt.Sprintf("row %d of %d%s; no row has taken effect", row+1, rows, detail)
	return r
}
