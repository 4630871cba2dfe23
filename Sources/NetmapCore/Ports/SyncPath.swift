/// The rings of a binding as plain data: what a sync of the whole port needs, and no reference that
/// would have to be counted.
///
/// Its ``AttachedPort`` owns the memory and must outlive it.
@unsafe
package struct SyncPath {
  let rings: UnsafePointer<RingParts>
  let transmitCount: Int
  let receiveCount: Int
  let process: ForkGuard.Mark

  /// What became of a sync of all rings of one direction.
  package enum Outcome: UInt8, Sendable {
    case done
    /// A backend failed, or its interface has gone.
    case failed
    /// This process is a fork child of the one that opened the port; nothing was done.
    case forked
  }

  /// Syncs all rings of one direction (`NIOCTXSYNC`, `NIOCRXSYNC`).
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  package func synchronize(_ direction: Direction) -> Outcome {
    guard unsafe process.isThisProcess else { return .forked }
    var outcome = Outcome.done
    switch direction {
    case .transmit:
      for index in unsafe 0..<transmitCount {
        if case .failed = unsafe AttachedRing(rings + index).synchronizeTransmit(.forceReclaim) {
          outcome = .failed
        }
      }
    case .receive:
      for index in unsafe transmitCount..<(transmitCount + receiveCount) {
        if case .failed = unsafe AttachedRing(rings + index).synchronizeReceive(.forceRead) {
          outcome = .failed
        }
      }
    }
    return outcome
  }
}

extension AttachedPort {
  /// The rings as plain data.
  package var syncPath: SyncPath {
    unsafe SyncPath(
      rings: UnsafePointer(rings), transmitCount: transmitCount, receiveCount: receiveCount,
      process: ForkGuard.Mark())
  }
}
