/// The rings of a binding as plain data: what a sync of the whole port needs, and no reference that
/// would have to be counted.
///
/// It lies in memory of its ``AttachedPort``, which must outlive every use. Passed as a pointer: one
/// register, and nothing is copied for each sync.
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

  /// Syncs all transmit rings (`NIOCTXSYNC`).
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  package static func transmit(_ path: UnsafePointer<SyncPath>) -> Outcome {
    guard unsafe path.pointee.process.isThisProcess else { return .forked }
    var outcome = Outcome.done
    var ring = unsafe path.pointee.rings
    let end = unsafe ring + path.pointee.transmitCount
    while unsafe ring < end {
      if case .failed = unsafe AttachedRing(ring).synchronizeTransmit(.forceReclaim) {
        outcome = .failed
      }
      unsafe ring += 1
    }
    return outcome
  }

  /// Syncs all receive rings (`NIOCRXSYNC`).
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  package static func receive(_ path: UnsafePointer<SyncPath>) -> Outcome {
    guard unsafe path.pointee.process.isThisProcess else { return .forked }
    var outcome = Outcome.done
    var ring = unsafe path.pointee.rings + path.pointee.transmitCount
    let end = unsafe ring + path.pointee.receiveCount
    while unsafe ring < end {
      if case .failed = unsafe AttachedRing(ring).synchronizeReceive(.forceRead) {
        outcome = .failed
      }
      unsafe ring += 1
    }
    return outcome
  }
}
