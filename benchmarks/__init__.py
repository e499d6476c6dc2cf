"""Speed and accuracy of the program against what a user would write by hand."""
