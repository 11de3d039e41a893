"""One stage, one file, one public function; numpy at the border."""
