// Package gateway is the heart of gatepost: it turns what devices publish into what people see in rooms, and what people
// ask for into what devices receive. It knows no MQTT, Matrix or database library; those are behind the interfaces of
// ports.go.
package gateway
