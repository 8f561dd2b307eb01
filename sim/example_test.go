package sim_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"bordo/sim"
)

// A test of any program that speaks Modbus starts a photovoltaic plant in five lines: read a scenario, make the site, dial.
// There is no socket and no second process, so it works inside testing/synctest, where a day passes in a moment.
func Example() {
	scenario, _ := sim.LoadScenario("demo")
	site, _ := sim.New(scenario, sim.Options{Seed: 1})
	conn, _ := site.Dial(context.Background(), "tcp", "10.0.0.1:502")
	defer conn.Close()                                                        //nolint:errcheck // an example
	conn.Write([]byte{0, 1, 0, 0, 0, 6, 1, 3, 40000 >> 8, 40000 & 255, 0, 2}) //nolint:errcheck // an example

	reply := make([]byte, 13)
	io.ReadFull(conn, reply) //nolint:errcheck // an example
	fmt.Printf("%s\n", reply[9:])
	// Output: SunS
}

// What goes wrong is a value as well, and what the registers held can be asked for afterwards.
func ExampleSite_Raise() {
	site, _ := sim.New(&sim.Scenario{
		Version: 1, Name: "mine",
		Lines: []sim.Line{{ID: "roof", Port: "tcp://plant:502", Devices: []sim.Device{
			{ID: "inv-1", Model: "sunspec", Unit: 1, Inverter: &sim.Inverter{Rated: 10000}},
		}}},
	}, sim.Options{})
	site.Raise("roof", sim.Fault{Kind: sim.Gone, For: time.Minute}) //nolint:errcheck // an example
	_, err := site.Dial(context.Background(), "tcp", "plant:502")
	fmt.Println(err)
	// Output: dial tcp plant:502: connection refused
}
