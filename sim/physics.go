package sim

import (
	"fmt"
	"time"

	"bordo/sim/plant"
)

// How a site is moved.
const (
	step     = time.Second           // longest physical step, where finest allows it
	finest   = 10 * time.Millisecond // in the agent's time: a fast site takes longer steps, at most a hundred a second
	leapStep = 10 * time.Second      // physical step of a leap
	maxLeap  = 31 * 24 * time.Hour
	fastest  = 3600 // times real
)

// physics is all that is physical at a site: it knows no line and no protocol. The caller holds the site's lock.
type physics struct {
	place    plant.Place
	sky      plant.Sky
	grid     plant.Grid
	load     plant.Load
	location *time.Location

	start    time.Time     // of the simulation, on package time
	sunStart time.Time     // what the sun's clock showed then
	pace     float64       // how fast the sun moves
	speed    float64       // how fast everything moves
	leapt    time.Duration // additional physical time of leaps
	now      time.Time     // time up to which the bodies have moved, on package time

	mains     *faults // of the public network
	producers []*inverterModel
	others    []model
}

// moment is what all bodies of a site share while they are moved one step.
type moment struct {
	dt                 time.Duration // physical time that goes by
	elapsed            time.Duration // physical time since the beginning
	at                 time.Time     // what the sun's clock shows
	elevation, azimuth float64
	sky                plant.Sky
	air                float64 // degrees Celsius
	mains              bool
	supply             plant.Supply
	loadW, loadVar     [plant.Phases]float64
	producedW          float64 // by all inverters
}

func newPhysics(s *Scenario, seed uint64, start time.Time, speed float64) (*physics, error) {
	location, err := s.location()
	if err != nil {
		return nil, fmt.Errorf("site.timezone: %w", err)
	}
	n := &physics{
		mains: newFaults(seed, "mains", start, s.Mains.Faults),
		place: plant.Place{Lat: s.Site.Lat, Lon: s.Site.Lon},
		sky:   plant.NewSky(seed, s.Clouds), grid: plant.NewGrid(seed),
		load:     plant.NewLoad(seed, s.Load.Base, s.Load.Peak),
		location: location, start: start, now: start, sunStart: start, pace: s.Sun.Pace, speed: speed,
	}
	if n.pace == 0 {
		n.pace = 1
	}
	if s.Sun.From != "" {
		if n.sunStart, err = time.ParseInLocation(sunFormat, s.Sun.From, location); err != nil {
			return nil, fmt.Errorf("sun.from: %w", err)
		}
	}
	return n, nil
}

// add adds a body. An inverter is moved before all others, because they measure its output.
func (n *physics) add(b model) {
	if v, ok := b.(*inverterModel); ok {
		n.producers = append(n.producers, v)
		return
	}
	n.others = append(n.others, b)
}

// advance moves everything to a time, in steps.
func (n *physics) advance(now time.Time) {
	n.advanceBy(now, max(finest, time.Duration(float64(step)/max(1, n.speed))))
}

// leap advances everything physical at once.
func (n *physics) leap(now time.Time, by time.Duration) {
	n.advance(now)
	for by > 0 {
		dt := min(leapStep, by)
		by -= dt
		n.leapt += dt
		n.move(dt)
	}
}

// advanceBy moves everything to a time, in steps of a length.
func (n *physics) advanceBy(now time.Time, step time.Duration) {
	for n.now.Before(now) {
		dt := min(step, now.Sub(n.now))
		n.now = n.now.Add(dt)
		n.move(time.Duration(float64(dt) * n.speed))
	}
}

// settle lets everything take its place at the beginning.
func (n *physics) settle() { n.move(0) }

// move carries out one step of dt that ends at n.now: first those who produce, then those who measure.
func (n *physics) move(dt time.Duration) {
	m := moment{dt: dt, elapsed: n.elapsed(), at: n.sunTime(), sky: n.sky}
	m.elevation, m.azimuth = plant.Sun(m.at, n.place)
	m.air = n.sky.Air(m.at)
	_, _, cut := n.mains.on(MainsCut, "", n.now)
	if m.mains = !cut; m.mains {
		m.supply = n.grid.At(m.at)
		m.loadW, m.loadVar = n.load.At(m.at)
	}
	for _, v := range n.producers {
		v.move(&m)
		m.producedW += v.PowerW
	}
	for _, b := range n.others {
		b.move(&m)
	}
}

// elapsed returns the physical time since the start.
func (n *physics) elapsed() time.Duration {
	return time.Duration(float64(n.now.Sub(n.start))*n.speed) + n.leapt
}

// sunTime is what the sun's clock shows.
func (n *physics) sunTime() time.Time {
	return n.sunStart.Add(time.Duration(float64(n.elapsed()) * n.pace)).In(n.location)
}
