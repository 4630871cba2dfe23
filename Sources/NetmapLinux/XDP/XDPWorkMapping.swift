internal import Glibc
package import NetmapCore

/// The counters of the XDP program on a veth, mapped into this process for reading.
///
/// The program (`bpf/xdp_finish.c`) counts in a BPF map. The kernel lets no process write to it. The mapping keeps
/// the map alive.
@safe
package final class XDPWorkMapping {
  /// Bytes of one queue's counters: `struct work` of the program.
  private static let entryBytes = 32

  private let base: UnsafeMutableRawPointer
  private let byteCount: Int
  private let queue: Int

  /// - Parameters:
  ///   - map: The BPF map. It stays the caller's.
  ///   - queue: The queue, below the number of the map's entries.
  ///   - subject: The name of the interface, for messages.
  /// - Throws: ``NetmapError`` with the `errno` of mmap(2).
  package init(_ map: CInt, queue: Int, subject: String) throws(NetmapError) {
    let byteCount = pageRounded((queue + 1) * Self.entryBytes)
    let result = unsafe mmap(nil, byteCount, PROT_READ, MAP_SHARED, map, 0)
    guard let base = unsafe result, unsafe base != MAP_FAILED else {
      throw systemError("mmap", "\(subject) (counters of the XDP program)")
    }
    unsafe self.base = base
    self.byteCount = byteCount
    self.queue = queue
  }

  deinit { unsafe munmap(base, byteCount) }

  /// The counters of the queue, valid as long as this object.
  package var counters: XDPWorkCounters {
    unsafe XDPWorkCounters(base + queue * Self.entryBytes)
  }
}

extension XDPReceive {
  /// The ring driver's function for a receive ring on whose interface the XDP program completes frames.
  package static let synchronizeFinished: RingDriverFunction.Synchronize = {
    context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    let half = unsafe context.assumingMemoryBound(to: XDPReceive.self)
    let port = unsafe MappedRing(calledWith: ring)
    let result = unsafe half.pointee.synchronize(port, upTo: head)
    unsafe half.pointee.countWork(port)
    return result
  }

  /// Adds to the ring's counters what the XDP program has done since the last time.
  ///
  /// Called with the ring's lock held. If the process is killed in between, some repairs are not counted.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  func countWork(_ port: MappedRing) {
    guard let counters = unsafe counters else { return }
    let (now, before) = unsafe (counters.work, state.work)
    guard now != before else { return }
    unsafe state.work = now
    unsafe port.kring.count(.repairedChecksums, now.checksums &- before.checksums)
    unsafe port.kring.count(.restoredTags, now.tags &- before.tags)
    unsafe port.kring.countDrop(.unfinished, now.unfinished &- before.unfinished)
  }
}

extension XDPPairLayout {
  /// Writes down what the XDP program had done to the frames of a queue before its ring pair was made, so that the
  /// pair does not count it.
  ///
  /// - Parameters:
  ///   - work: What it had done.
  ///   - state: The first byte of the pair's words.
  package static func begin(after work: XDPWork, _ state: UnsafeMutableRawPointer) {
    unsafe XDPStateWords(base: state + receiveState).work = work
  }
}
