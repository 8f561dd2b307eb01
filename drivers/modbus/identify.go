package modbus

// Holds tells whether the condition is met in an answer. One that does not hold the field does not meet it.
func (t *Test) Holds(a Answer) bool { return t.holds(a) }

// Recognises tells whether a device is of this model, by the profile's tests; false when it has none. read asks the device;
// a test whose registers it does not give is not met. The error is the first of read that is not a refusal.
func (p *Profile) Recognises(read func(Span) (Answer, error)) (bool, error) {
	for i := range p.Identify {
		a, err := read(p.Asked(p.Identify[i].Span()))
		if err != nil {
			if isRefusal(err) {
				err = nil
			}
			return false, err
		}
		if !p.Identify[i].holds(a) {
			return false, nil
		}
	}
	return len(p.Identify) > 0, nil
}

// Asked is the span that one request asks this model for to get s: with even addresses where it wants them.
func (p *Profile) Asked(s Span) Span {
	r := rules{Limits: p.Limits}
	return r.toEven(s)
}
