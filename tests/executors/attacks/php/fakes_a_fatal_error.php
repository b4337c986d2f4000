<?php
@trigger_error('Allowed memory size', E_USER_ERROR);
exit(0);
