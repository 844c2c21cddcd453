package convention

import "testing"

// TestHAKeys: a sample of every kind of short name, and long names stay.
func TestHAKeys(t *testing.T) {
	for short, long := range map[string]string{
		"t": "topic", "stat_t": "state_topic", "cmd_t": "command_topic", "cmd_tpl": "command_template", "val_tpl": "value_template", "stat_tpl": "state_template",
		"stat_val_tpl": "state_value_template", "bri_cmd_t": "brightness_command_topic", "bri_tpl": "brightness_template", "clr_temp_val_tpl": "color_temp_value_template",
		"hum_stat_t": "target_humidity_state_topic", "hum_state_tpl": "target_humidity_state_template", "act_t": "action_topic", "act_stat_t": "activity_state_topic",
		"act_val_tpl": "activity_value_template", "dock_cmd_t": "dock_command_topic", "pause_cmd_t": "pause_command_topic", "pause_mw_cmd_tpl": "pause_command_template",
		"strt_mw_cmd_tpl": "start_mowing_command_template", "swing_h_mode_stat_tpl": "swing_horizontal_mode_state_template", "temp_hi_cmd_t": "temperature_high_command_topic",
		"set_fan_spd_t": "set_fan_speed_topic", "set_pos_tpl": "set_position_template", "tilt_status_tpl": "tilt_status_template", "json_attr": "json_attributes",
		"json_attr_t": "json_attributes_topic", "avty": "availability", "avty_t": "availability_topic", "l_ver_tpl": "latest_version_template", "img_t": "image_topic",
		"pr_mode_val_tpl": "preset_mode_value_template", "e": "encoding", "o": "origin", "p": "platform", "cmps": "components", "def_ent_id": "default_entity_id",
		"migr_discvry": "migrate_discovery", "pl_arm_custom_b": "payload_arm_custom_bypass", "cmd_on_tpl": "command_on_template", "whit_cmd_t": "white_command_topic",
		"lrst_val_tpl": "last_reset_value_template", "r_tpl": "red_template", "curr_hum_tpl": "current_humidity_template", "unit_of_meas": "unit_of_measurement",
		// long already, or nobody's
		"topic": "topic", "mode_command_topic": "mode_command_topic", "min_temp": "min_temp", "max_temp": "max_temp", "modes": "modes", "temp_step": "temp_step",
		"fan_modes": "fan_modes", "my_t": "my_t", "": "", "~": "~", "qos": "qos", "via_device": "via_device",
	} {
		if got := haKey(short); got != long {
			t.Errorf("%q becomes %q, want %q", short, got, long)
		}
	}
	o := haLong(map[string]any{
		"dev": map[string]any{"ids": "x", "mf": "m", "sa": "a", "sn": "1"}, "name": "long wins", "avty": map[string]any{"t": "~/a"}, "stat_t": "~/s", "cmd_t": "s/~", "pl_on": "~",
		"payload": "long", "pl": "short",
	})
	haBase(o, "base/x")
	if o["state_topic"] != "base/x/s" || o["command_topic"] != "s/base/x" || o["payload_on"] != "~" || o["payload"] != "long" {
		t.Errorf("%v", o)
	}
	if d := o["device"].(map[string]any); d["identifiers"] != "x" || d["suggested_area"] != "a" || d["serial_number"] != "1" {
		t.Errorf("%v", d)
	}
	if a := o["availability"].([]any)[0].(map[string]any); a["topic"] != "base/x/a" {
		t.Errorf("%v", a)
	}
}
