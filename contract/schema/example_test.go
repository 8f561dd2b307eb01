package schema_test

import (
	"fmt"

	"bordo/contract"
	"bordo/contract/schema"
)

// A program that tests its own messages, or looks at those of others, loads the schemas once and holds each payload
// against the one of its topic.
func Example() {
	schemas, err := schema.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	topic := "bordo/v1/cremasco/quintano/tele/inv-1"
	a, err := contract.ParseTopic("bordo", topic)
	if err != nil {
		fmt.Println(err)
		return
	}
	good := `{"sv":1,"node":"quintano","dev":"inv-1","ep":"k3f9x2q7","hist":false,"clk":"sync","sent":1760000005123,
	 "samples":[{"seq":10231,"ts":1760000000000,"v":{"ac_power":1234.5}}]}`
	bad := `{"sv":1,"node":"quintano","dev":"inv-1","ep":"k3f9x2q7","hist":false,"clk":"sync","sent":1760000005123,
	 "samples":[{"seq":10231,"ts":1760000000000,"v":{"ac_power":null}}]}`
	fmt.Printf("%q\n", schemas.Violation(a.Kind, []byte(good)))
	fmt.Println(schemas.Violation(a.Kind, []byte(bad)))
	// Output:
	// ""
	// '/samples/0/v/ac_power': got null, want boolean or number or string
}
