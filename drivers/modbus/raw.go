package modbus

// The types in this file mirror a profile's YAML. Only key names and basic types are checked here; compiler
// converts them to a Profile and reports faults.

type rawProfile struct {
	Schema   int                  `yaml:"schema"`
	Model    string               `yaml:"model"`
	Title    string               `yaml:"title"`
	Kind     string               `yaml:"kind"`
	Verified string               `yaml:"verified"`
	Links    []string             `yaml:"links"`
	Bus      string               `yaml:"bus"`
	BusCan   rawBusCan            `yaml:"bus_can"`
	TCPPort  int                  `yaml:"tcp_port"`
	Unit     rawUnit              `yaml:"unit"`
	Every    rawEvery             `yaml:"every"`
	Timing   rawTiming            `yaml:"timing"`
	Limits   rawLimits            `yaml:"limits"`
	Tolerant bool                 `yaml:"tolerant_ids"`
	Sleeps   *bool                `yaml:"sleeps_at_night"`
	Order    rawOrder             `yaml:"order"`
	NA       map[string][]uint64  `yaml:"na"`
	Ranges   map[string][]float64 `yaml:"ranges"`
	Readable []string             `yaml:"readable"`
	Holes    []string             `yaml:"holes"`
	Identify []rawTest            `yaml:"identify"`
	Identity rawIdentity          `yaml:"identity"`
	Points   []rawPoint           `yaml:"points"`
	Channels []rawChannel         `yaml:"channels"`
	Commands []rawCommand         `yaml:"commands"`
	Guards   rawGuards            `yaml:"guards"`
	Quirks   []rawQuirk           `yaml:"quirks"`
	SunSpec  *rawSunSpec          `yaml:"sunspec"`
}

type rawUnit struct {
	Default int   `yaml:"default"`
	Range   []int `yaml:"range"`
	Probe   []int `yaml:"probe"`
}

type rawEvery struct {
	Default string `yaml:"default"`
	Least   string `yaml:"least"`
}

type rawTiming struct {
	ReplyMax    string `yaml:"reply_max"`
	TCPReplyMax string `yaml:"tcp_reply_max"`
	ReplyUsual  string `yaml:"reply_usual"`
	Gap         string `yaml:"gap"`
	ConnectWait string `yaml:"connect_wait"`
	IdleClose   string `yaml:"idle_close"`
}

type rawLimits struct {
	Registers int  `yaml:"registers"`
	Bits      int  `yaml:"bits"`
	Align     int  `yaml:"align"`
	Even      bool `yaml:"even"`
	Clients   int  `yaml:"clients"`
}

type rawOrder struct {
	Words string `yaml:"words"`
	Bytes string `yaml:"bytes"`
}

type rawField struct {
	At       string            `yaml:"at"`
	Type     string            `yaml:"type"`
	Length   int               `yaml:"length"`
	Words    string            `yaml:"words"`
	Bytes    string            `yaml:"bytes"`
	SF       string            `yaml:"sf"`
	Scale    string            `yaml:"scale"`
	Offset   string            `yaml:"offset"`
	Bit      *int              `yaml:"bit"`
	Invert   bool              `yaml:"invert"`
	NA       *rawNA            `yaml:"na"`
	NAReason string            `yaml:"na_reason"`
	Enum     map[uint64]string `yaml:"enum"`
	Flags    map[int]string    `yaml:"flags"`
	Format   string            `yaml:"format"`
}

type rawPoint struct {
	Point    string    `yaml:"point"`
	Field    rawField  `yaml:",inline"`
	Pace     string    `yaml:"pace"`
	Fallback bool      `yaml:"fallback"`
	Range    []float64 `yaml:"range"`
	When     *rawTest  `yaml:"when"`
	Else     any       `yaml:"else"`
}

type rawTest struct {
	Field    rawField `yaml:",inline"`
	In       []uint64 `yaml:"in"`
	Starts   string   `yaml:"starts"`
	Contains []string `yaml:"contains"`
}

type rawNaming struct {
	Text  string   `yaml:"text"`
	Field rawField `yaml:",inline"`
}

type rawIdentity struct {
	Maker    *rawNaming `yaml:"maker"`
	Model    *rawNaming `yaml:"model"`
	Serial   *rawNaming `yaml:"serial"`
	Firmware *rawNaming `yaml:"firmware"`
}

type rawChannel struct {
	Name  string   `yaml:"channel"`
	Field rawField `yaml:",inline"`
	Unit  string   `yaml:"unit"`
	Write bool     `yaml:"write"`
}

type rawCommand struct {
	Action string    `yaml:"action"`
	Steps  []rawStep `yaml:"steps"`
	Check  *rawCheck `yaml:"check"`
	Repeat string    `yaml:"repeat"`
}

type rawStep struct {
	Field    rawField   `yaml:",inline"`
	Function int        `yaml:"function"`
	Value    *uint64    `yaml:"value"`
	Arg      string     `yaml:"arg"`
	Range    []float64  `yaml:"range"`
	Choose   *rawChoose `yaml:"choose"`
}

type rawChoose struct {
	Arg    string `yaml:"arg"`
	First  int    `yaml:"first"`
	Count  int    `yaml:"count"`
	Stride int    `yaml:"stride"`
}

type rawCheck struct {
	Point    string    `yaml:"point"`
	Words    []string  `yaml:"words"`
	Field    *rawField `yaml:"field"`
	Within   string    `yaml:"within"`
	Interval string    `yaml:"interval"`
}

type rawGuards struct {
	NullFrame []string  `yaml:"null_frame"`
	Frozen    int       `yaml:"frozen"`
	Counters  bool      `yaml:"counters"`
	RatedW    float64   `yaml:"rated_w"`
	Rated     *rawField `yaml:"rated"`
}

type rawQuirk struct {
	ID   string `yaml:"id"`
	What string `yaml:"what"`
}

type rawSunSpec struct {
	Bases    []uint16          `yaml:"bases"`
	Part     int               `yaml:"part"`
	ModelsOf string            `yaml:"models_of"`
	Models   []rawSunSpecModel `yaml:"models"`
}

type rawSunSpecModel struct {
	IDs      []uint16     `yaml:"ids"`
	Kind     string       `yaml:"kind"`
	Title    string       `yaml:"title"`
	Family   string       `yaml:"family"`
	Lengths  []int        `yaml:"lengths"`
	Points   []rawPoint   `yaml:"points"`
	Repeat   *rawRepeat   `yaml:"repeat"`
	Commands []rawCommand `yaml:"commands"`
	Rated    *rawField    `yaml:"rated"`
}

type rawRepeat struct {
	At     int        `yaml:"at"`
	Size   int        `yaml:"size"`
	Count  *rawField  `yaml:"count"`
	Skip   *rawTest   `yaml:"skip"`
	Points []rawPoint `yaml:"points"`
}

// rawBusCan is the key "bus_can": the serial settings that a model supports.
type rawBusCan struct {
	Baud   []int    `yaml:"baud"`
	Parity []string `yaml:"parity"`
}
