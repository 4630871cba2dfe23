internal import CNetmapHalves
internal import NetmapCore

/// The functions that the C half calls.
///
/// Allocated once and never freed, because the C half keeps the address.
private nonisolated(unsafe) let table: UnsafePointer<netmap_half> = {
  let table = UnsafeMutablePointer<netmap_half>.allocate(capacity: 1)
  unsafe table.initialize(
    to: netmap_half(
      version: UInt32(NETMAP_HALVES_VERSION), size: UInt32(MemoryLayout<netmap_half>.size),
      open: openToken, recognize: recognizeToken, request: performRequest, attach: attachBinding,
      release: releaseBinding, forked: forgetEverything, transmit: transmitBinding,
      receive: receiveBinding, scan: scanBinding, arm: armBinding,
      begin: beginHalf, prepare: prepareOpens, vacate: vacateNumber, close_kept: closeKept,
      places: findPlaces, has_unsent: hasUnsent, progress: progressOfBinding, take_names: takeNames,
      announce: announceBinding, abandon: abandonBinding, take_loop: takeLoop, turn_loop: turnLoop,
      end_loop: endLoop, has_loop: hasLoop))
  return unsafe UnsafePointer(table)
}()

/// The one function that the Swift half exports.
///
/// - Parameter version: What the C half was compiled with.
/// - Returns: The table; nil for a version that this half does not know.
@c(netmap_half_enter)
public func enterHalf(_ version: UInt32) -> UnsafeRawPointer? {
  guard version == UInt32(NETMAP_HALVES_VERSION) else { return nil }
  PrivateDescriptors.guardAll()
  return unsafe UnsafeRawPointer(table)
}
