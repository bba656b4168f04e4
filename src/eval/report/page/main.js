// Draws the page.
report
  .readData()
  .then((data) => {
    report.showHeader(data);
    report.showScores(data);
    report.showExperts(data);
    report.showSamples(data);
    report.showProvenance(data);
  })
  .catch((error) => {
    const reason =
      typeof DecompressionStream === "undefined" ? "This page needs a browser of 2023 or later." : String(error);
    document.getElementById("summary").append(reason);
  });
