package agent

import (
	"time"

	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// reporter decides which polls of a device become records. Its device's line alone uses it.
type reporter struct {
	cfg  config.Report
	last map[string]drivers.Reading // as reported
	at   time.Time
}

// due reports whether a poll is to be stored: always by default; with "on: change", when at_least has passed or a point
// has changed. A number changes when it differs by more than its deadband, a state or quality when it differs at all.
// Counters are ignored because they always move; they are sent along with the rest.
func (r *reporter) due(readings []drivers.Reading, now time.Time) bool {
	if !r.cfg.OnChange {
		return true
	}
	due := r.last == nil || now.Sub(r.at) >= r.cfg.AtLeast
	for i := 0; i < len(readings) && !due; i++ {
		due = r.changed(readings[i])
	}
	if !due {
		return false
	}
	if r.last == nil {
		r.last = make(map[string]drivers.Reading, len(readings))
	}
	for _, x := range readings {
		r.last[x.Point] = x
	}
	r.at = now
	return true
}

func (r *reporter) changed(now drivers.Reading) bool {
	last, known := r.last[now.Point]
	if !known || last.Quality != now.Quality || last.Value.Type() != now.Value.Type() {
		return true
	}
	if now.Value.Type() != catalogue.Float {
		return last.Value != now.Value
	}
	if p, ok := catalogue.PointOf(now.Point); ok && p.Kind == catalogue.Counter {
		return false
	}
	band, own := r.cfg.Points[now.Point]
	if !own {
		band = r.cfg.Deadband
	}
	return band.Passed(last.Value.Float(), now.Value.Float())
}
