# SPDX-License-Identifier: GPL-2.0-or-later
# gnuplot -e "in='attack.dat'; out='attack.svg'" attack.gp: what the victim keeps, and how stuck operations pile up.
set terminal svg size 900,640 font "sans,13" background "white"
set output out
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set grid ytics
set key top left horizontal
set multiplot layout 2,1
set title "Victim's slowest vCPU: work done, percent of its fair share (settled)"
set yrange [0:*]
set arrow 1 from graph 0, first 90 to graph 1, first 90 nohead dashtype 2
plot for [i=2:5] in index 0 using i:xtic(1) title columnheader(i)
unset arrow 1
set title "Stuck operations on the CPU that has most of them, 99th percentile"
plot for [i=2:5] in index 1 using i:xtic(1) title columnheader(i)
unset multiplot
