package simulator

import (
	"fmt"

	"gateline/internal/linkkey"
	"gateline/replication"
)

// cityKeys is what the boxes of a city and its centre know each other by, as in
// production: TLS with certificates of one authority, and an nkey each.
type cityKeys struct {
	centre *replication.HubLink
	// boxes are the links of the stations, leafs those of the leafs that stand
	// for more of them.
	boxes, leafs []*linkkey.Link
}

func newCityKeys(boxes, leafs int) (*cityKeys, error) {
	authority, err := linkkey.NewAuthority()
	if err != nil {
		return nil, fmt.Errorf("make the city's keys: %w", err)
	}
	file, err := authority.Centre()
	if err != nil {
		return nil, fmt.Errorf("make the city's keys: %w", err)
	}
	centre, err := linkkey.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("make the city's keys: %w", err)
	}
	k := &cityKeys{centre: &replication.HubLink{TLS: centre.Server()}}
	for i := range boxes + leafs {
		name, list := fmt.Sprintf("station-%d", i), &k.boxes
		if i >= boxes {
			name, list = fmt.Sprintf("leaf-%d", i-boxes), &k.leafs
		}
		file, public, err := authority.Station(name)
		if err != nil {
			return nil, fmt.Errorf("make the city's keys: %w", err)
		}
		link, err := linkkey.Parse(file)
		if err != nil {
			return nil, fmt.Errorf("make the city's keys: %w", err)
		}
		*list = append(*list, link)
		k.centre.Stations = append(k.centre.Stations, replication.StationKey{Station: name, Key: public})
	}
	return k, nil
}
