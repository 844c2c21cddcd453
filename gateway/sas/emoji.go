package sas

// emojis is how many are compared.
const emojis = 7

// Emoji is a picture and what it is called, for who cannot see it.
type Emoji struct {
	Symbol string `json:"symbol"`
	Name   string `json:"name"`
}

// Emoji are the seven to be compared; nil before they are known.
func (f *Flow) Emoji() []Emoji {
	if f.state != Shown {
		return nil
	}
	out := make([]Emoji, 0, emojis)
	for _, n := range f.emoji {
		out = append(out, table[n])
	}
	return out
}

// Decimals are three numbers that say the same as the emoji.
func (f *Flow) Decimals() [3]int {
	if f.state != Shown {
		return [3]int{}
	}
	return f.decimals
}

// table is the standard's ("SAS method: emoji"), by number.
var table = [64]Emoji{
	{"🐶", "Dog"},
	{"🐱", "Cat"},
	{"🦁", "Lion"},
	{"🐎", "Horse"},
	{"🦄", "Unicorn"},
	{"🐷", "Pig"},
	{"🐘", "Elephant"},
	{"🐰", "Rabbit"},
	{"🐼", "Panda"},
	{"🐓", "Rooster"},
	{"🐧", "Penguin"},
	{"🐢", "Turtle"},
	{"🐟", "Fish"},
	{"🐙", "Octopus"},
	{"🦋", "Butterfly"},
	{"🌷", "Flower"},
	{"🌳", "Tree"},
	{"🌵", "Cactus"},
	{"🍄", "Mushroom"},
	{"🌏", "Globe"},
	{"🌙", "Moon"},
	{"☁️", "Cloud"},
	{"🔥", "Fire"},
	{"🍌", "Banana"},
	{"🍎", "Apple"},
	{"🍓", "Strawberry"},
	{"🌽", "Corn"},
	{"🍕", "Pizza"},
	{"🎂", "Cake"},
	{"❤️", "Heart"},
	{"😀", "Smiley"},
	{"🤖", "Robot"},
	{"🎩", "Hat"},
	{"👓", "Glasses"},
	{"🔧", "Spanner"},
	{"🎅", "Santa"},
	{"👍", "Thumbs Up"},
	{"☂️", "Umbrella"},
	{"⌛", "Hourglass"},
	{"⏰", "Clock"},
	{"🎁", "Gift"},
	{"💡", "Light Bulb"},
	{"📕", "Book"},
	{"✏️", "Pencil"},
	{"📎", "Paperclip"},
	{"✂️", "Scissors"},
	{"🔒", "Lock"},
	{"🔑", "Key"},
	{"🔨", "Hammer"},
	{"☎️", "Telephone"},
	{"🏁", "Flag"},
	{"🚂", "Train"},
	{"🚲", "Bicycle"},
	{"✈️", "Aeroplane"},
	{"🚀", "Rocket"},
	{"🏆", "Trophy"},
	{"⚽", "Ball"},
	{"🎸", "Guitar"},
	{"🎺", "Trumpet"},
	{"🔔", "Bell"},
	{"⚓", "Anchor"},
	{"🎧", "Headphones"},
	{"📁", "Folder"},
	{"📌", "Pin"},
}
