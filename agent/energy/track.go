package energy

import (
	"slices"

	"bordo/contract"
)

// vertex is a point of the time line up to which the energy is known.
type vertex struct {
	moment
	D        int64 `json:"d"`            // ms since the vertex before; -1: as far as their places are apart
	E        int64 `json:"e,omitempty"`  // mWh since the vertex before
	Cov      int64 `json:"v,omitempty"`  // of D, ms that readings cover
	N        int   `json:"n,omitempty"`  // readings since the vertex before
	C        int64 `json:"c,omitempty"`  // counter, mWh; without meaning if Integral
	Integral bool  `json:"i,omitempty"`  // E is an integral of the power
	Carry    int64 `json:"ca,omitempty"` // mWh that were counted between the two, and could not be placed more exactly

	// Why is the cause of a segment that begins here. Nothing is booked from the previous vertex to this one, unless
	// Mod is set: the value at which the counter began anew. Last is the previous counter value.
	Why  string `json:"w,omitempty"`
	Mod  int64  `json:"mod,omitempty"`
	Last *int64 `json:"l,omitempty"`

	Meter string `json:"mt,omitempty"` // serial number from here on, where it is another one
}

// breaks reports whether nothing is booked up to this vertex.
func (v *vertex) breaks() bool { return v.Why != "" && v.Mod == 0 }

// plain reports whether a vertex is an ordinary one with a known beginning.
func (v *vertex) plain() bool { return v.Why == "" && v.Meter == "" && v.D >= 0 && v.Carry == 0 }

// Limits of a track. While it waits for the clock, vertices within one chunk are merged: a chunk is as exact as the
// quarters will be, and a whole day of them stays small.
const (
	trackMax  = 96
	trackFull = 192 // of vertices that cannot be joined
	chunkMS   = 5 * 60 * 1000
)

// push adds a vertex to the track, false when it is full.
func (c *counter) push(v vertex) bool {
	if c.Track = join(c.Track, v); len(c.Track) > trackMax {
		c.Track = thin(c.Track)
	}
	if len(c.Track) > trackFull {
		c.Track = c.Track[:len(c.Track)-1]
		return false
	}
	return true
}

// join adds a vertex to a track. It merges it with the last one if no quarter depends on the difference: when both lie
// within one quarter, or, while the clock is not set, together in less than a chunk.
func join(track []vertex, v vertex) []vertex {
	n := len(track)
	if n == 0 {
		return append(track, v)
	}
	l := &track[n-1]
	if !l.plain() || !v.plain() || !adjacent(l, &v) {
		return append(track, v)
	}
	if v.Clk == contract.ClockFree {
		if l.D+v.D > chunkMS {
			return append(track, v)
		}
	} else if quarterOf(l.T-l.D) != quarterOf(v.T) {
		return append(track, v)
	}
	unite(l, &v)
	return track
}

// adjacent reports whether v continues where l ends, by the same clock and the same method.
func adjacent(l, v *vertex) bool {
	d := v.T - v.D - l.T
	return l.Boot == v.Boot && l.Clk == v.Clk && l.Integral == v.Integral && d <= slackMS && d >= -slackMS
}

// unite makes one vertex of two that are adjacent.
func unite(l, v *vertex) {
	from := l.T - l.D
	l.E, l.Cov, l.N = l.E+v.E, l.Cov+v.Cov, l.N+v.N
	l.moment, l.C = v.moment, v.C
	l.D = max(l.T-from, 0)
}

// thin makes one of the two neighbours that are shortest together, at the price of detail. No energy is lost.
func thin(track []vertex) []vertex {
	best, at := int64(0), -1
	for i := 1; i < len(track); i++ {
		l, v := &track[i-1], &track[i]
		if l.plain() && v.plain() && adjacent(l, v) && (at < 0 || l.D+v.D < best) {
			best, at = l.D+v.D, i
		}
	}
	if at < 0 {
		return track
	}
	unite(&track[at-1], &track[at])
	return slices.Delete(track, at, at+1)
}

// due counts the vertices at the front that can be booked: all but those whose clock may still be set. now is the last
// poll. A track that is very full waits no longer.
func (c *counter) due(now moment, r rules) int {
	for i := range c.Track {
		v := &c.Track[i]
		if v.Clk == contract.ClockFree && v.Boot == now.Boot && now.M-v.M < r.hold && len(c.Track) <= trackMax {
			return i
		}
	}
	return len(c.Track)
}
