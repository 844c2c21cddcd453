// Package action is what a person may ask of a device, all of it pure: an Action with its arguments and their checks, which
// of a device's actions somebody means by what they typed, what then is published and what proves that it was done, and the
// words about it. Actions are made of a rule of the configuration or of what a device announced about itself.
package action
