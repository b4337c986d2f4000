<?php
foreach ((new ReflectionClass('AzrHarness'))->getProperties() as $property) { try { $property->setValue(null, 42); } catch (Throwable) {} }
function f($x) { return 7; }
