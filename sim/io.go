package sim

import (
	"time"

	"bordo/drivers/catalogue"
	"bordo/sim/plant"
)

// ioBody is what hangs on an I/O module: doors, the mains contact, tanks behind 4 to 20 mA.
type ioBody struct {
	channels []Channel
	dice     plant.Dice
	has      trouble
	tanks    map[string]*plant.Tank
	open     map[string]bool // doors
	mains    bool
}

// The current of a level transmitter.
const (
	emptyMA = 4.0
	fullMA  = 20.0
)

// doorOpen is how long a door stays open.
const doorOpen = 30 * time.Second

func newIOBody(d Device, dice plant.Dice, has trouble) *ioBody {
	b := &ioBody{channels: d.IO, dice: dice, has: has, tanks: map[string]*plant.Tank{}, open: map[string]bool{},
		mains: true}
	for _, c := range d.IO {
		if c.Is == "level" {
			b.tanks[c.At] = &plant.Tank{LevelPct: c.Value, Fills: c.Fills}
		}
	}
	return b
}

func (b *ioBody) move(m *moment) {
	b.mains = m.mains
	for _, tank := range b.tanks {
		tank.Step(m.dt)
	}
	for i, c := range b.channels {
		if c.Is == "door" {
			n := uint64(m.elapsed / c.Every)
			begins := time.Duration(b.dice.Float(uint64(i)<<32|n) * float64(max(0, c.Every-doorOpen)))
			into := m.elapsed - time.Duration(n)*c.Every
			b.open[c.At] = into >= begins && into < begins+doorOpen
		}
	}
}

// points: a module has no points of its own.
func (b *ioBody) points(func(string, catalogue.Value)) {}

func (b *ioBody) dead() bool { return false } // fed by the UPS of the cabinet

func (b *ioBody) reset() {}

// signal returns the signal at a channel: a truth value, or a number in the channel's unit.
func (b *ioBody) signal(c Channel) catalogue.Value {
	if f, broken := b.has(Wire); broken && (f.Point == "" || f.Point == c.At) {
		if c.Is == "level" || c.Is == "value" {
			return catalogue.Number(0)
		}
		return catalogue.Truth(false)
	}
	switch c.Is {
	case "door":
		return catalogue.Truth(b.open[c.At])
	case "mains":
		return catalogue.Truth(b.mains)
	case "level":
		return catalogue.Number(emptyMA + (fullMA-emptyMA)*b.tanks[c.At].LevelPct/100)
	}
	return catalogue.Number(c.Value)
}
