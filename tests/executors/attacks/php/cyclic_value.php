<?php
function f($x) { $v = ['k' => []]; $v['k'][] = &$v; return $v; }
