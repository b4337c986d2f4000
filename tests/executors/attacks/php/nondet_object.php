<?php
function f($x) { return uniqid('', true) . spl_object_hash(new stdClass); }
