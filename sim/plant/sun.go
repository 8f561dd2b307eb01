package plant

import (
	"math"
	"time"
)

// Place is where a site is, in degrees: north and east are positive.
type Place struct{ Lat, Lon float64 }

// Sun returns the sun's elevation above the horizon and its azimuth (from north, clockwise), both in degrees, without
// refraction. The formulas are those of NOAA's solar calculator (after Meeus), accurate to about 0.01 degrees in this
// century.
func Sun(at time.Time, p Place) (elevation, azimuth float64) {
	days := float64(at.UnixMilli())/86400e3 + 2440587.5 - 2451545 // since noon of 1 January 2000
	t := days / 36525

	meanLon := math.Mod(280.46646+t*(36000.76983+t*0.0003032), 360)
	anomaly := 357.52911 + t*(35999.05029-0.0001537*t)
	eccentricity := 0.016708634 - t*(0.000042037+0.0000001267*t)
	centre := sin(anomaly)*(1.914602-t*(0.004817+0.000014*t)) +
		sin(2*anomaly)*(0.019993-0.000101*t) + sin(3*anomaly)*0.000289
	node := 125.04 - 1934.136*t
	apparentLon := meanLon + centre - 0.00569 - 0.00478*sin(node)
	obliquity := 23 + (26+(21.448-t*(46.815+t*(0.00059-t*0.001813)))/60)/60 + 0.00256*cos(node)
	declination := degrees(math.Asin(sin(obliquity) * sin(apparentLon)))

	y := math.Pow(math.Tan(radians(obliquity/2)), 2)
	equationOfTime := 4 * degrees(y*sin(2*meanLon)-2*eccentricity*sin(anomaly)+
		4*eccentricity*y*sin(anomaly)*cos(2*meanLon)-y*y/2*sin(4*meanLon)-
		5*eccentricity*eccentricity/4*sin(2*anomaly)) // minutes

	utc := at.UTC()
	minutes := float64(utc.Hour()*60+utc.Minute()) + float64(utc.Second())/60 + float64(utc.Nanosecond())/60e9
	hourAngle := (minutes+equationOfTime+4*p.Lon)/4 - 180

	cosZenith := clamp(sin(p.Lat)*sin(declination)+cos(p.Lat)*cos(declination)*cos(hourAngle), -1, 1)
	elevation = 90 - degrees(math.Acos(cosZenith))
	azimuth = degrees(math.Atan2(sin(hourAngle),
		cos(hourAngle)*sin(p.Lat)-math.Tan(radians(declination))*cos(p.Lat))) + 180
	return elevation, math.Mod(azimuth+360, 360)
}

// Surface is a plane that collects light, in degrees: tilt from the horizontal, azimuth from north (180 is south).
type Surface struct{ Tilt, Azimuth float64 }

// ClearSky gives the irradiance on a surface under a cloudless sky, in W/m2: the beam after Meinel's formula for the air
// mass, and a tenth of it as diffuse light from the whole sky.
func ClearSky(elevation, azimuth float64, s Surface) float64 {
	if elevation <= 0 {
		return 0
	}
	// Air mass after Kasten and Young: finite at the horizon.
	airMass := 1 / (sin(elevation) + 0.50572*math.Pow(elevation+6.07995, -1.6364))
	beam := 1353 * math.Pow(0.7, math.Pow(airMass, 0.678))
	incidence := sin(elevation)*cos(s.Tilt) + cos(elevation)*sin(s.Tilt)*cos(azimuth-s.Azimuth)
	return beam*math.Max(0, incidence) + 0.1*beam*(1+cos(s.Tilt))/2
}

// Sky is the weather over a site.
type Sky struct {
	Cover float64 // 0 cloudless .. 1 overcast, on the average
	dice  Dice
}

// NewSky makes the weather that a seed gives.
func NewSky(seed uint64, cover float64) Sky {
	return Sky{Cover: clamp(cover, 0, 1), dice: NewDice(seed, "sky")}
}

// Clearness is the share of the clear sky's light that comes through the clouds at a time, 0.25 to 1, after Kasten and
// Czeplak. Clouds are noise on four scales: the day, the half hour, the passing cloud and its edge.
func (s Sky) Clearness(at time.Time) float64 {
	noise := 0.35*s.dice.Noise(at, 9*time.Hour) + 0.30*s.dice.Noise(at, 31*time.Minute) +
		0.25*s.dice.Noise(at, 4*time.Minute) + 0.10*s.dice.Noise(at, 20*time.Second)
	clouds := clamp(s.Cover+noise*math.Min(1, 4*s.Cover*(1-s.Cover)), 0, 1)
	return 1 - 0.75*math.Pow(clouds, 3.4)
}

// Air is the temperature of the air in degrees Celsius: a year and a day of the Po valley.
func (s Sky) Air(at time.Time) float64 {
	utc := at.UTC()
	year := cos(360 * (float64(utc.YearDay()) - 200) / 365.25)               // warmest in mid July
	day := cos(15 * (float64(utc.Hour()) + float64(utc.Minute())/60 - 13.5)) // warmest at half past two, summer time
	return 13.5 + 11*year + (4+1.5*year)*day + 1.5*s.dice.Noise(at, 7*time.Hour)
}

func radians(d float64) float64 { return d * math.Pi / 180 }
func degrees(r float64) float64 { return r * 180 / math.Pi }
func sin(d float64) float64     { return math.Sin(radians(d)) }
func cos(d float64) float64     { return math.Cos(radians(d)) }
