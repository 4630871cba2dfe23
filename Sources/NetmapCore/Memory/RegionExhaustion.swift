// Why a region has nothing left, and what a user can do about it.

extension Region {
  /// The refusal of a request for which the region has no object left.
  ///
  /// - Parameters:
  ///   - what: What was wanted.
  ///   - why: What there is.
  ///   - setting: What a user raises to have more.
  ///   - kept: How many objects are in quarantine.
  /// - Returns: `ENOMEM`, with what the user can do.
  func exhausted(
    _ what: String, _ why: String, _ setting: String, kept: Int = 0
  ) -> NetmapError {
    let others = isPrivate ? "other ports of the same parent" : "other ports"
    let use =
      layout.isExact
      ? "give the region more or larger objects, or close \(others)"
      : "use fewer or smaller rings, or close \(others)"
    let remedy =
      isPrivate ? use : "raise \(setting), \(use)"
    guard kept > 0 else {
      return NetmapError(
        .outOfMemory, "allocate", "memory region \(id)", reason: "no room for \(what): \(why)",
        remedy: remedy)
    }
    return NetmapError(
      .outOfMemory, "allocate", "memory region \(id)",
      reason: "no room for \(what): \(why); \(kept) are kept for processes that have closed a port"
        + " here and still have its rings mapped",
      remedy: "\(remedy); have those processes release their closed ports, or end them")
  }
}
