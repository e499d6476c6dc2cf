"""From records to text and pictures. Reports see records only."""
