fillHead();
fillSheets();
fillTable();
fillCurves();
fillScatter();
fillTime();
fillCompare();
fillNotes();
