package convention

// components are the kinds of entities of Home Assistant discovery, the second level of its topics. What is false is known
// but not supported.
func components() map[string]bool {
	return map[string]bool{
		"alarm_control_panel": true, "binary_sensor": true, "button": true, "camera": true, "climate": true, "cover": true,
		"device_automation": true, "device_tracker": true, "event": true, "fan": true, "humidifier": true, "image": true,
		"lawn_mower": true, "light": true, "lock": true, "notify": true, "number": true, "scene": true, "select": true,
		"sensor": true, "siren": true, "switch": true, "tag": true, "text": true, "update": true, "vacuum": true, "valve": true,
		"water_heater": true,
		"date":         false, "datetime": false, "time": false,
	}
}
