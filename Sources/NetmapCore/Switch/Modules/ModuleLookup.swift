internal import Synchronization

/// A module that this process can call: what the cell behind a ``DestinationTable``'s places points to.
@unsafe
struct ModuleEntry {
  typealias Lookup = @convention(c) (UnsafeMutableRawPointer?, UnsafeRawPointer) -> Void

  let lookup: Lookup
  let context: UnsafeMutableRawPointer?
}

extension Forwarder {
  /// Puts each packet of a batch on a list, as the switch's module says.
  @inline(never)
  mutating func lookUp(_ count: Int, by program: ModuleProgram) {
    switch program.kind {
    case .learning: return unsafe learnAndLookUp(count)
    case .hosted: return unsafe redirect(count, to: program.host)
    case .stopped:
      unsafe resetVerdicts(count)
    case .inProcess:
      guard let entry = unsafe moduleEntry else { return unsafe learnAndLookUp(count) }
      unsafe ask(entry.pointee, count)
    case .hub, .balancer, .filter:
      unsafe resetVerdicts(count)
      var batch = unsafe batch(count)
      let area = unsafe bridge.configuration(program.area)
      unsafe withUnsafePointer(to: &batch) { head in
        let batch = unsafe SwitchBatch(head)
        switch program.kind {
        case .hub:
          batch.route { packet in
            packet.learn()
            return .broadcast
          }
        case .balancer: unsafe FlowBalancer(area).lookup(batch)
        default: unsafe PacketFilter(area).lookup(batch)
        }
      }
    }
    unsafe distribute(count)
  }

  /// Has a module of this process decide: the one indirect call of a batch.
  // The compiler cannot follow it; a module answers for itself.
  @_semantics("no_performance_analysis")
  @inline(__always)
  mutating func ask(_ entry: ModuleEntry, _ count: Int) {
    unsafe resetVerdicts(count)
    var batch = unsafe batch(count)
    unsafe withUnsafePointer(to: &batch) { head in
      unsafe entry.lookup(entry.context, UnsafeRawPointer(head))
    }
  }

  @inline(__always)
  private func batch(_ count: Int) -> ModuleBatch {
    unsafe ModuleBatch(
      frames: UnsafeRawPointer(frames), verdicts: verdicts,
      addresses: bridge.base + BridgeLayout.table, count: count,
      frameStride: MemoryLayout<Frame>.stride, port: port, ring: ringIndex)
  }

  /// What a module says nothing about is dropped.
  @inline(__always)
  private func resetVerdicts(_ count: Int) {
    unsafe verdicts.update(repeating: SwitchVerdict.drop.rawValue, count: count)
  }

  private var moduleEntry: UnsafePointer<ModuleEntry>? {
    unsafe UnsafePointer(bitPattern: moduleCell(cells).pointee.load(ordering: .acquiring))
  }

  /// Puts packets on the lists that their verdicts say. Any verdict is one.
  @inline(__always)
  mutating func distribute(_ count: Int) {
    var (packets, dropped) = (0, 0)
    var index = 0
    while index < count {
      let packet = index
      let fragments = unsafe frames[packet].fragments
      index &+= Int(max(fragments, 1))
      packets &+= 1
      let verdict = unsafe verdicts[packet]
      let receiver = verdict & 0xffff
      guard receiver <= 254, unsafe receiver != port, unsafe frames[packet].length >= 14 else {
        dropped &+= 1
        unsafe countUnsent(packet, receiver)
        continue
      }
      if receiver == 254 {
        unsafe append(packet, fragments, to: &broadcast)
        continue
      }
      let ring = Int(verdict >> 16 & 0xff)
      unsafe append(
        packet, fragments, port: receiver, ring: ring == 0 ? ringIndex : (ring &- 1) & 15)
    }
    unsafe bridge.count(.packets, packets)
    unsafe bridge.count(.dropped, dropped)
  }

  @inline(never)
  private func countUnsent(_ packet: Int, _ receiver: UInt32) {
    if unsafe frames[packet].length < 14 {
      unsafe dropShort(packet)
    } else {
      unsafe drop(packet, receiver > 254 ? .filtered : .noDestination)
    }
  }
}

/// The cell of a process's module, behind those of its destinations.
@inline(__always)
func moduleCell(_ cells: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt>> {
  unsafe (cells + SwitchLimits.indexes &* MemoryLayout<UInt>.size)
    .assumingMemoryBound(to: Atomic<UInt>.self)
}
