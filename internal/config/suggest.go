package config

import "strings"

// nearest gives the candidate that word was probably meant to be: at most two letters added, left out, changed or swapped,
// one in a word of up to four letters. "" when none is near.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, limit := "", 2
	if len(word) <= 4 {
		limit = 1
	}
	for _, c := range candidates {
		if d := distance(plain(word), plain(c)); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

func plain(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }

// distance is the optimal string alignment distance (Damerau-Levenshtein without overlapping swaps), in bytes.
func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		above, row, above2 := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
