package consumer_test

import (
	"fmt"
	"time"

	"bordo/contract/consumer"
)

// A program gives the consumer each message of its subscription and acknowledges it to the broker when there is no error.
func Example() {
	c, err := consumer.New(consumer.Options{
		Deliver: func(r consumer.Record) error {
			fmt.Println(r.Node, r.Dev, r.Ep, r.Seq, r.Sample.V["ac_power"])
			return nil // an error keeps the record undelivered
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	payload := []byte(`{"sv":1,"node":"quintano","dev":"inv-1","ep":"k3f9x2q7","hist":false,"clk":"sync","sent":1760000005123,
		"samples":[{"seq":10231,"ts":1760000000000,"v":{"ac_power":1234.5}}]}`)
	for range 2 { // the broker sends it twice
		err := c.Handle(consumer.Message{Topic: "bordo/v1/cremasco/quintano/tele/inv-1", Payload: payload}, time.Now())
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output: quintano inv-1 k3f9x2q7 10231 1234.5
}
