"""The command line: parse, call one public function, hand the record to a report."""
