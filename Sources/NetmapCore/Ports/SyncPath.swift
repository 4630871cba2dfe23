/// The rings of a binding as plain data: everything that a sync of the whole port needs, without counted
/// references.
///
/// It lies in memory of its ``MappedPort``, which must outlive every use. Functions take it as a pointer, which
/// fits in one register, so that a sync copies nothing.
@unsafe
package struct SyncPath {
  let rings: UnsafePointer<RingParts>
  let transmitCount: Int
  let receiveCount: Int
  let process: ForkGuard.Mark
  /// Whether all rings belong to a pipe.
  ///
  /// The sync of a pipe is inlined here; syncs of other kinds are out of line, so that they save no registers for
  /// it. False also after ``refusal`` was set, so that only those syncs check it.
  private(set) var isPipe: Bool
  /// Why every sync fails, if it does.
  private(set) var refusal = Refusal.none

  enum Refusal: UInt8 {
    case none
    /// The process that carries the port's packets has exited.
    case abandoned
    /// Control blocks drive the rings (CSB mode).
    case controlled
  }

  init(_ rings: UnsafePointer<RingParts>, transmitCount: Int, receiveCount: Int) {
    unsafe self.rings = rings
    unsafe self.transmitCount = transmitCount
    unsafe self.receiveCount = receiveCount
    unsafe process = ForkGuard.Mark()
    unsafe isPipe = (0..<transmitCount + receiveCount).allSatisfy { index in
      unsafe rings[index].kind == .pipe
    }
  }

  mutating func abandon() {
    unsafe refusal = .abandoned
    unsafe isPipe = false
  }

  mutating func refuse() {
    if unsafe refusal == .none { unsafe refusal = .controlled }
    unsafe isPipe = false
  }

  /// The outcome of a sync of all rings of one direction.
  package enum Outcome: UInt8, Sendable {
    case done
    /// A backend failed. A later sync may succeed.
    case failed
    /// The port has stopped for good: its interface is gone, or the process that carries the port's packets has exited.
    case stopped
    /// This process is a fork child of the process that opened the port; no ring was synced.
    case forked
    /// Control blocks drive the rings (CSB mode); no ring was synced.
    case controlled

    /// Adds the failure of one ring: the worst of all rings counts.
    @inline(never)
    mutating func add(_ failure: SyncResult) {
      if failure == .stopped || self == .stopped {
        self = .stopped
      } else {
        self = .failed
      }
    }
  }

  /// Syncs all transmit rings (`NIOCTXSYNC`).
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  package static func transmit(_ path: UnsafePointer<SyncPath>) -> Outcome {
    guard unsafe path.pointee.process.isThisProcess else { return .forked }
    guard unsafe path.pointee.isPipe else { return unsafe transmitOthers(path) }
    var ring = unsafe path.pointee.rings
    let end = unsafe ring + path.pointee.transmitCount
    while unsafe ring < end {
      _ = unsafe MappedRing(ring).synchronizePipeTransmit()
      unsafe ring += 1
    }
    return .done
  }

  @inline(never)
  private static func transmitOthers(_ path: UnsafePointer<SyncPath>) -> Outcome {
    var outcome = Outcome.done
    if unsafe path.pointee.refusal != .none {
      guard unsafe path.pointee.refusal == .abandoned else { return .controlled }
      outcome = .stopped
    }
    var ring = unsafe path.pointee.rings
    let end = unsafe ring + path.pointee.transmitCount
    while unsafe ring < end {
      let result = unsafe MappedRing(ring).synchronizeOtherTransmit(.forceReclaim)
      if result.isFailure { outcome.add(result) }
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
    guard unsafe path.pointee.isPipe else { return unsafe receiveOthers(path) }
    var ring = unsafe path.pointee.rings + path.pointee.transmitCount
    let end = unsafe ring + path.pointee.receiveCount
    while unsafe ring < end {
      _ = unsafe MappedRing(ring).synchronizePipeReceive()
      unsafe ring += 1
    }
    return .done
  }

  @inline(never)
  private static func receiveOthers(_ path: UnsafePointer<SyncPath>) -> Outcome {
    var outcome = Outcome.done
    if unsafe path.pointee.refusal != .none {
      guard unsafe path.pointee.refusal == .abandoned else { return .controlled }
      outcome = .stopped
    }
    var ring = unsafe path.pointee.rings + path.pointee.transmitCount
    let end = unsafe ring + path.pointee.receiveCount
    while unsafe ring < end {
      let result = unsafe MappedRing(ring).synchronizeOtherReceive(.forceRead)
      if result.isFailure { outcome.add(result) }
      unsafe ring += 1
    }
    return outcome
  }
}
