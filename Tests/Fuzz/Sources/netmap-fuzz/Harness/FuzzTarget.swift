/// A function that must hold for any bytes.
struct FuzzTarget: Sendable {
  /// The name of the target, of its corpus and of its dictionary.
  let name: String
  /// What it attacks, in a few words.
  let subject: String
  /// Ends the process when an input breaks a rule.
  let run: @Sendable ([UInt8]) -> Void
}

/// Ends the process with a message unless a rule holds.
func require(
  _ holds: @autoclosure () -> Bool, _ rule: @autoclosure () -> String,
  file: StaticString = #fileID, line: UInt = #line
) {
  if !holds() { fatalError(rule(), file: file, line: line) }
}
