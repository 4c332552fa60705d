"""What a run leaves for people: report.json and one HTML file; made from records alone."""
