package Slow; sub TIESCALAR { bless [] } sub FETCH { 1 while 1 }
package main;
sub f { my @list = (1); tie $list[0], 'Slow'; return \@list }
