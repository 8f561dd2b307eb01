// Command example-sim uses the simulator from a module of its own. It serves a site with one meter, prints where a Modbus client
// finds it, and asks the control API what the meter holds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"bordo/sim"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "example-sim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	scenario := &sim.Scenario{Version: 1, Name: "example", Lines: []sim.Line{{
		ID: "meters", Port: "serial+tcp://10.0.0.1:4001?baud=9600",
		Devices: []sim.Device{{ID: "meter-1", Model: "eastron-sdm630", Unit: 1, Meter: &sim.Meter{Import: 1234.5}}},
	}}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := sim.Serve(ctx, scenario, sim.ServeOptions{Seed: 1, Control: true})
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		err = errors.Join(err, server.Wait())
	}()
	for _, e := range server.Endpoints {
		fmt.Printf("line %s: %s\n", e.Line, e.URL)
	}
	reply, err := http.Get(server.API + "/state")
	if err != nil {
		return err
	}
	defer reply.Body.Close() //nolint:errcheck // only read
	var state sim.State
	if err := json.NewDecoder(reply.Body).Decode(&state); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	fmt.Printf("meter-1 import_energy: %s kWh\n", state.Devices["meter-1"]["import_energy"])
	return nil
}
