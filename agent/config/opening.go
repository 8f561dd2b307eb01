package config

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Opening holds the opening hours of a site for each day of the week, in its time zone. All empty: none are given.
type Opening [7][]Hours // by time.Weekday

// Hours is one time of being open on one day.
type Hours struct{ From, To Minute }

// Minute is a time of day on the wall's clock, in minutes after midnight; 1440 is the end of the day.
type Minute int

// String gives HH:MM.
func (m Minute) String() string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }

// String gives HH:MM-HH:MM.
func (h Hours) String() string { return h.From.String() + "-" + h.To.String() }

// Given reports whether any opening hours are configured.
func (o Opening) Given() bool {
	for _, day := range o {
		if len(day) > 0 {
			return true
		}
	}
	return false
}

// At reports whether the site is open at t, which must be in the site's time zone.
func (o Opening) At(t time.Time) bool {
	now := Minute(60*t.Hour() + t.Minute())
	for _, h := range o[t.Weekday()] {
		if now >= h.From && now < h.To {
			return true
		}
	}
	return false
}

// weekdays are the keys of opening, in the order in which people write them.
var weekdays = []struct {
	key string
	day time.Weekday
}{
	{"mon", time.Monday}, {"tue", time.Tuesday}, {"wed", time.Wednesday}, {"thu", time.Thursday},
	{"fri", time.Friday}, {"sat", time.Saturday}, {"sun", time.Sunday},
}

// maxHours is the maximum number of opening periods per day.
const maxHours = 8

func (r *reader) opening(v value, o *Opening) {
	m, ok := v.keys()
	if !ok {
		return
	}
	for _, d := range weekdays {
		last := Minute(-1)
		for _, e := range m.get(d.key).list(maxHours) {
			var h Hours
			if !read(e, &h, hours) {
				continue
			}
			if h.From < last {
				e.fault("must not begin before %s, when the hours before it end (got %s)", last, h.From)
			}
			last = h.To
			o[d.day] = append(o[d.day], h)
		}
	}
	m.end()
}

var hoursForm = regexp.MustCompile(`^([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$`)

func hours(s scalar) (Hours, error) {
	f := hoursForm.FindStringSubmatch(s.text)
	if f == nil {
		return Hours{}, fmt.Errorf(`must be hours such as "09:00-12:00" (got %s)`, got(s))
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(f[i+1]) //nolint:errcheck // two digits
	}
	h := Hours{Minute(60*n[0] + n[1]), Minute(60*n[2] + n[3])}
	if n[1] > 59 || n[3] > 59 || h.To > 24*60 || h.From >= h.To {
		return Hours{}, fmt.Errorf("must be between 00:00 and 24:00, the first before the second (got %s)", s.text)
	}
	return h, nil
}
