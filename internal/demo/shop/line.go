package shop

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

//go:embed data/2010-12-01.csv
var data embed.FS

// Line is one line of an invoice.
type Line struct {
	Invoice     string    `json:"invoice"` // of a cancellation it begins with C
	StockCode   string    `json:"stockCode"`
	Description string    `json:"description"`
	Quantity    int       `json:"quantity"`   // pieces; negative for a return
	PricePence  int       `json:"pricePence"` // of one piece
	Customer    string    `json:"customer"`   // empty if not known
	Country     string    `json:"country"`
	Time        time.Time `json:"time"`
}

// Day returns the invoice lines of 1 December 2010, in the order of the file.
func Day() ([]Line, error) {
	f, err := data.Open("data/2010-12-01.csv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f)
}

// read parses the file; its first row names the columns.
func read(r io.Reader) ([]Line, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord = 8
	if _, err := rows.Read(); err != nil {
		return nil, fmt.Errorf("read the column names: %w", err)
	}
	var lines []Line
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		line, err := parse(row)
		if err != nil {
			n, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		lines = append(lines, line)
	}
}

func parse(row []string) (Line, error) {
	quantity, err := strconv.Atoi(row[3])
	if err != nil {
		return Line{}, fmt.Errorf("quantity: %w", err)
	}
	at, err := time.Parse(time.DateTime, row[4])
	if err != nil {
		return Line{}, fmt.Errorf("invoice date: %w", err)
	}
	pounds, err := strconv.ParseFloat(row[5], 64)
	if err != nil {
		return Line{}, fmt.Errorf("unit price: %w", err)
	}
	const half = 0.5 // rounds: 2.55 pounds are 254.99999… pence
	return Line{
		Invoice: row[0], StockCode: row[1], Description: strings.TrimSpace(row[2]), Quantity: quantity,
		PricePence: int(pounds*100 + half), Customer: strings.TrimSuffix(row[6], ".0"), Country: row[7], Time: at,
	}, nil
}
