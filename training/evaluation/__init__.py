"""Readers of whole fields, measured on any labelled set: `counterfoil evaluate`.

    labelled.py   what is to be read, and what is written there
    readers.py    who reads, by name
    rivals.py     Tesseract and RapidOCR, where they are installed
    measure.py    reading it all, and the figures
    report.py     the figures as one HTML file; charts.py its curves

(`training.glyph.scores` scores the glyph classifier alone, on single digits.)
"""
