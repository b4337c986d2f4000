<?php
function f($x) { while (true) sleep(60); }
