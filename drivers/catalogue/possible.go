package catalogue

// possible holds, by unit, the bounds of a quantity at any site that this agent is for. They are generous: a plant of
// some megawatts on a medium-voltage line is well within them. A value outside is a sentinel, a register read with the
// wrong type, or a damaged answer. Models narrow the bounds.
var possible = map[string][2]float64{
	"W":      {-100e6, 100e6},
	"var":    {-100e6, 100e6},
	"V.A":    {-100e6, 100e6},
	"V":      {-2000, 200_000},
	"A":      {-100_000, 100_000},
	"Hz":     {0, 100},
	"kW.h":   {0, 1e10},
	"kvar.h": {-1e10, 1e10},
	"%":      {-100, 200},
	"Cel":    {-100, 500},
	"min":    {0, 1e7},
	"L":      {-1e6, 1e9},
	"1":      {0, 1e10},
}

// possibleOf holds the points whose bounds differ from those of their unit.
var possibleOf = map[string][2]float64{
	"power_factor":    {-1.05, 1.05}, // makers round
	"battery_charge":  {0, 110},
	"battery_voltage": {-2000, 5000},
	"humidity":        {0, 110},
	"ac_energy_today": {0, 1e7},
}

// Possible returns the bounds outside of which a number cannot be a value of the point. ok is false for points that are
// not numbers.
func (p Point) Possible() (low, high float64, ok bool) {
	if p.Type != Float {
		return 0, 0, false
	}
	r, ok := possibleOf[p.Key]
	if _, quantity, dc := dcParts(p.Key); dc && quantity == "voltage" {
		r, ok = possibleOf["battery_voltage"], true // no string has more than some 1500 V
	}
	if !ok {
		r, ok = possible[p.Unit]
	}
	return r[0], r[1], ok
}

// IsPossible reports whether a number can be a value of the point. A point without bounds accepts any.
func (p Point) IsPossible(x float64) bool {
	low, high, ok := p.Possible()
	return !ok || x >= low && x <= high
}
