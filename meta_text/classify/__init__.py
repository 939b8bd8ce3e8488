"""FewShotClassifier and what it needs: class edits, audit, files in and out."""
