internal import Glibc

/// Prints a line to standard error, which takes all output that is not a result.
func printError(_ line: String) {
  writeError(line + "\n")
}

/// Writes to standard error without a line end.
func writeError(_ text: String) {
  var text = text
  text.withUTF8 { bytes in _ = unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
}

extension Double {
  /// The number with a fixed count of decimals, 0...6; `-` for numbers too large for a table.
  func fixed(_ decimals: Int) -> String {
    guard isFinite, abs(self) < 1e12 else { return "-" }
    var scale: Int64 = 1
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int64((abs(self) * Double(scale)).rounded())
    let sign = self < 0 && scaled != 0 ? "-" : ""
    guard decimals > 0 else { return sign + String(scaled) }
    let fraction = String(scaled % scale)
    let zeros = String(repeating: "0", count: decimals - fraction.utf8.count)
    return "\(sign)\(scaled / scale).\(zeros)\(fraction)"
  }
}
