package modbus

// Holds reports whether the condition is met. It is not met if the reply does not contain the field.
func (t *Test) Holds(a Answer) bool { return t.holds(a) }

// Recognises reports whether a device is of this model, using the profile's identification tests; false if it
// has none. read reads a span from the device. A test whose registers the device refuses counts as failed.
// Recognises returns the first error of read that is not a refusal.
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

// Asked returns the span of the request that reads s from this model, extended to even addresses if the model
// needs that.
func (p *Profile) Asked(s Span) Span {
	r := rules{Limits: p.Limits}
	return r.toEven(s)
}
