extension OptionList {
  /// Copies the options back to the program: each header, with the option's status; and the body of each option that
  /// was applied, if the request succeeded.
  ///
  /// Stops at the first option that cannot be written.
  ///
  /// - Parameters:
  ///   - memory: The program's memory.
  ///   - failure: Why the request failed; nil if it succeeded. `EFAULT` when an option could not be written.
  func writeBack(_ memory: some UserMemory, failure: inout RequestErrno?) {
    var next = first
    while let entry = next {
      guard buffer.copyOut(to: address(entry), memory, from: entry.header..<entry.body) else {
        failure = .badAddress
        return
      }
      if failure == nil, status(entry) == .accepted {
        let body = address(entry) &+ UInt64(RequestLayout.Option.byteCount)
        guard buffer.copyOut(to: body, memory, from: bodyRange(entry)) else {
          failure = .badAddress
          return
        }
      }
      next = following(entry)
    }
  }
}
