package rules

// CheckTopUp asks whether a card may be topped up now (TOP-01, TOP-02). What a
// channel does while the centre cannot be reached is the channel's (OQ-08).
type CheckTopUp struct{ Card }

func (CheckTopUp) function() Function { return FunctionTopUp }
func (CheckTopUp) reads()             {}

func (c CheckTopUp) decide(d *draft) (Answer, *Refusal) {
	if !begun(d.rules.TopUpFrom, d.now) || d.isBound(c.Card) {
		return done(), nil
	}
	if kind, known := d.kind(c.Kind); known && kind.TopUpExempt {
		return done(), nil // TOP-06
	}
	return Answer{}, refuse(CodeTopUp)
}

// ReportLoss is refused in every channel, whoever asks: a card is as cash, and
// nothing here can stop one (TOP-08). The holder may unbind it.
type ReportLoss struct{}

func (ReportLoss) function() Function { return "" }
func (ReportLoss) reads()             {}

func (ReportLoss) decide(*draft) (Answer, *Refusal) {
	return Answer{}, refuse(CodeNoLossReports)
}
