import CNetmap
import NetmapCore
import TableSupport

/// A word that other processes can write.
struct RacedWord {
  /// The number of the memory.
  let memory: Int
  let offset: Int
  /// The number of the mapping.
  var mapping = 0
  /// Bytes: 1, 2, 4 or 8.
  let width: Int
  /// The name of the word and of all words of its kind.
  let name: String
  /// The parts of the word that are attacked on their own; empty for the whole word.
  var parts: [Part] = []
  /// For a slot of an interface's ring, where each operation uses other slots: its place among them.
  var slots: (index: Int, count: Int)?

  struct Part {
    let name: String
    let shift: Int
    let bits: Int
  }

  static let slotParts = [
    Part(name: "buf", shift: 0, bits: 32), Part(name: "len", shift: 32, bits: 16),
    Part(name: "flags", shift: 48, bits: 16),
  ]
}

/// All words of the shared memory that an operation could load, and what surrounds them.
struct RacedWords {
  private(set) var words: [RacedWord] = []
  /// The ranges of each memory that hold state and no packets.
  private(set) var ranges: [[Range<Int>]]
  /// For each memory with buffers: the buffers that slots name, and where buffers are.
  private(set) var buffers: [Int: Buffers] = [:]

  struct Buffers {
    var base: Int
    var count: Int
    var size: Int
    var named: Set<Int> = [0, 1]
    /// The same buffers in order.
    var known: [Int] = []
    /// The extra buffers of the process's ports, and the pages of their `KeptTable`s: the process writes there itself.
    var extra: Set<Int> = []

    /// The buffer that contains a byte; nil when no buffer does.
    func buffer(at offset: Int) -> Int? {
      guard offset >= base, offset < base + count * size else { return nil }
      return (offset - base) / size
    }
  }

  private let memories: [RacedMemory]
  /// Whether each operation uses the same slots and packets.
  private let isRestored: Bool

  /// The slots of an interface's ring in which the operation's instructions are found. Breakpoints report all others too.
  private static let slotsMax = 24

  init(_ memories: [RacedMemory], isRestored: Bool) {
    self.memories = memories
    self.isRestored = isRestored
    ranges = memories.map { _ in [] }
    for (index, memory) in memories.enumerated() {
      if let segment = try? SyncSegment(mapping: memory.memory) {
        ranges[index] = [0..<memory.memory.byteCount]
        add(segment, index)
      } else if (try? SwitchSegment(mapping: memory.memory)) != nil {
        ranges[index] = [0..<memory.memory.byteCount]
        addSwitch(index)
      } else if memory.name == "csb" {
        ranges[index] = [0..<memory.memory.byteCount]
        words += LoopBlocks.words.map {
          RacedWord(memory: index, offset: $0.offset, width: 4, name: "csb \($0.name)")
        }
      } else if !memory.name.hasPrefix("region-") {
        ranges[index] = [0..<memory.memory.byteCount]
        addAll(index, "\(memory.name.prefix { $0 != "-" })", 0..<memory.memory.byteCount)
      }
    }
    for (index, found) in buffers { buffers[index]?.known = found.named.sorted() }
    // A process with several ports has some memory mapped several times.
    words = words.flatMap { word in
      memories[word.memory].bases.indices.map { mapping in
        var word = word
        word.mapping = mapping
        return word
      }
    }
  }

  private mutating func addAll(
    _ memory: Int, _ name: String, _ range: Range<Int>, width: Int = 8, isNumbered: Bool = false
  ) {
    for offset in stride(from: range.lowerBound, to: range.upperBound - width + 1, by: width) {
      words.append(
        RacedWord(
          memory: memory, offset: offset, width: width,
          name: isNumbered ? "\(name)+\(offset - range.lowerBound)" : name))
    }
  }

  // MARK: - Ports

  /// A port's name, from the name of its memory. Ports that differ in a digit at the end have one name.
  private static func short(_ name: String) -> String {
    let word = name.split(separator: "-", maxSplits: 1).last.map(String.init) ?? name
    if word.contains(where: { $0 == "{" || $0 == "}" }) {
      return word.filter { $0 != "{" && $0 != "}" }
    }
    let last = word.split(separator: ":").last.map(String.init) ?? word
    return last.last?.isNumber == true ? "\(last.dropLast())*" : last
  }

  private mutating func add(_ segment: SyncSegment, _ memory: Int) {
    let name = Self.short(memories[memory].name)
    addAll(memory, "\(name) header", 0..<64, width: 4, isNumbered: true)
    addAll(memory, "\(name) waiters", 64..<320, width: 4)
    addAll(memory, "\(name) ends", 384..<512, width: 4, isNumbered: true)
    let regions = (0..<256).compactMap { segment.binding(at: $0) }
    for (number, _) in regions.enumerated() {
      let start = SyncSegmentLayout.bindings + number * SyncSegmentLayout.bindingByteCount
      addAll(
        memory, "\(name) binding", start..<start + SyncSegmentLayout.bindingByteCount, width: 4,
        isNumbered: true)
    }
    var end = 0
    for number in 0..<segment.endCount {
      for direction in [Direction.transmit, .receive] {
        for index in 0..<segment.ringCount(end: number, direction) {
          guard let kring = unsafe segment.kring(end: number, direction, index) else { continue }
          let offset = Int(unsafe segment.offset(of: kring))
          end = max(end, offset + KRingLayout.byteCount)
          let ring =
            name + (segment.endCount > 1 ? (number == 0 ? "{" : "}") : "")
            + (direction == .transmit ? ".tx" : ".rx")
          addKRing(memory, offset, ring)
          guard let identifier = regions.first?.memoryID,
            let region = memories.firstIndex(where: { $0.name == "region-\(identifier)" })
          else { continue }
          let description = unsafe kring.description
          let (base, count, size) = segment.buffers
          if buffers[region] == nil {
            buffers[region] = Buffers(base: base, count: Int(count), size: Int(size))
          }
          addRing(region, Int(description.ringOffset), Int(description.slotCount), ring)
        }
      }
    }
    if segment.leaseSlots > 0 {
      for offset in stride(from: end, to: end + segment.leaseSlots * 16, by: 16) {
        words.append(RacedWord(memory: memory, offset: offset, width: 8, name: "\(name) lease"))
        words.append(
          RacedWord(memory: memory, offset: offset + 8, width: 8, name: "\(name) lease contents"))
      }
    }
    for binding in regions {
      guard let region = memories.firstIndex(where: { $0.name == "region-\(binding.memoryID)" })
      else { continue }
      let range = binding.interfaceOffset..<binding.interfaceOffset + 128
      guard !ranges[region].contains(range) else { continue }
      ranges[region].append(range)
      addAll(region, "\(name) netmap_if", range, width: 4, isNumbered: true)
      addExtraBuffers(region, binding.interfaceOffset)
    }
  }

  /// Finds the extra buffers of a binding: a list that each buffer's first word links. The pages of the `KeptTable`
  /// are linked by their second words.
  private mutating func addExtraBuffers(_ region: Int, _ interface: Int) {
    guard var found = buffers[region] else { return }
    let memory = memories[region]
    for (head, link) in [(NETMAP_IF_BUFS_HEAD_OFFSET, 0), (NETMAP_IF_SPARE1_OFFSET, 4)] {
      var index = Int(memory.load(interface + head, 4))
      while index > 1, index < found.count, found.extra.insert(index).inserted {
        index = Int(memory.load(found.base + index * found.size + link, 4))
      }
    }
    buffers[region] = found
  }

  private static let kringFields: [(name: String, offset: Int, width: Int)] = [
    ("lock", KRingLayout.lock, 8), ("hwcur", KRingLayout.hwcur, 4),
    ("hwtail", KRingLayout.hwtail, 4), ("rhead", KRingLayout.rhead, 4),
    ("rcur", KRingLayout.rcur, 4), ("rtail", KRingLayout.rtail, 4),
    ("state", KRingLayout.state, 4), ("offsetMask", KRingLayout.offsetMask, 8),
    ("offsetMax", KRingLayout.offsetMax, 8), ("offsetGap", KRingLayout.offsetGap, 8),
    ("published", KRingLayout.published, 4), ("slotCount", KRingLayout.slotCount, 4),
    ("ringID", KRingLayout.ringID, 4), ("direction", KRingLayout.direction, 4),
    ("kind", KRingLayout.kind, 4), ("ringOffset", KRingLayout.ringOffset, 8),
    ("peerKRing", KRingLayout.peerKRing, 8), ("peerRingOffset", KRingLayout.peerRingOffset, 8),
    ("arriving", KRingLayout.arriving, 8), ("holdsSenders", KRingLayout.holdsSenders, 4),
    ("position", KRingLayout.position, 4), ("waitWord", KRingLayout.waitWord, 4),
    ("reservation", KRingLayout.reservation, 8), ("isOpen", KRingLayout.isOpen, 4),
    ("openRingOffset", KRingLayout.openRingOffset, 8),
    ("openOffsetMask", KRingLayout.openOffsetMask, 8),
    ("openOffsetMax", KRingLayout.openOffsetMax, 8), ("refusedFull", KRingLayout.refusedFull, 8),
    ("refusedBusy", KRingLayout.refusedBusy, 8), ("frameShape", KRingLayout.frameShape, 8),
    ("deliveredSlot", KRingLayout.deliveredSlot, 4),
  ]

  private mutating func addKRing(_ memory: Int, _ base: Int, _ ring: String) {
    for field in Self.kringFields {
      words.append(
        RacedWord(
          memory: memory, offset: base + field.offset, width: field.width,
          name: "\(ring).\(field.name)"))
    }
    for (name, start, end) in [
      ("counters", KRingLayout.counters, KRingLayout.position),
      ("heldSenders", KRingLayout.heldSenders, KRingLayout.heldSenders + 32),
      ("delivered", KRingLayout.delivered, KRingLayout.delivered + 32),
    ] { addAll(memory, "\(ring).\(name)", base + start..<base + end) }
    // The intent of a transmit ring, the exchange note of a receive ring.
    addAll(
      memory, "\(ring).intent", base + KRingLayout.intent..<base + KRingLayout.intent + 32,
      isNumbered: true)
    let known = Self.kringFields.map { $0.offset..<$0.offset + $0.width }
    for offset in stride(from: 0, to: KRingLayout.byteCount, by: 4)
    where !known.contains(where: { $0.contains(offset) })
      && !(KRingLayout.counters..<KRingLayout.position).contains(offset)
      && !(KRingLayout.heldSenders..<KRingLayout.heldSenders + 32).contains(offset)
      && !(KRingLayout.intent..<KRingLayout.intent + 64).contains(offset)
    {
      words.append(
        RacedWord(memory: memory, offset: base + offset, width: 4, name: "\(ring)+\(offset)"))
    }
  }

  private static let ringFields: [(name: String, offset: Int, width: Int)] = [
    ("buf_ofs", NETMAP_RING_BUF_OFS_OFFSET, 8), ("num_slots", NETMAP_RING_NUM_SLOTS_OFFSET, 4),
    ("nr_buf_size", NETMAP_RING_NR_BUF_SIZE_OFFSET, 4), ("ringid", NETMAP_RING_RINGID_OFFSET, 2),
    ("dir", NETMAP_RING_DIR_OFFSET, 2), ("head", NETMAP_RING_HEAD_OFFSET, 4),
    ("cur", NETMAP_RING_CUR_OFFSET, 4), ("tail", NETMAP_RING_TAIL_OFFSET, 4),
    ("flags", NETMAP_RING_FLAGS_OFFSET, 4), ("ts", NETMAP_RING_TS_SEC_OFFSET, 8),
    ("ts", NETMAP_RING_TS_USEC_OFFSET, 8), ("offset_mask", NETMAP_RING_OFFSET_MASK_OFFSET, 8),
    ("buf_align", NETMAP_RING_BUF_ALIGN_OFFSET, 8),
  ]

  private mutating func addRing(_ region: Int, _ offset: Int, _ slots: Int, _ ring: String) {
    let memory = memories[region]
    ranges[region].append(offset..<offset + NETMAP_RING_SLOTS_OFFSET + 16 * slots)
    for field in Self.ringFields {
      words.append(
        RacedWord(
          memory: region, offset: offset + field.offset, width: field.width,
          name: "\(ring) ring.\(field.name)"))
    }
    addAll(
      region, "\(ring) ring.sem", offset + NETMAP_RING_SEM_OFFSET..<offset + 256)
    for slot in 0..<(isRestored ? slots : min(slots, Self.slotsMax)) {
      let place = offset + NETMAP_RING_SLOTS_OFFSET + 16 * slot
      let all = isRestored ? nil : (slot, slots)
      words.append(
        RacedWord(
          memory: region, offset: place, width: 8, name: "\(ring) slot",
          parts: RacedWord.slotParts, slots: all))
      words.append(
        RacedWord(
          memory: region, offset: place + 8, width: 8, name: "\(ring) slot.ptr", slots: all))
      let (index, length) = (Int(memory.load(place, 4)), memory.load(place + 4, 2))
      guard var found = buffers[region], index < found.count else { continue }
      found.named.insert(index)
      buffers[region] = found
      if length > 0, isRestored {
        let start = found.base + index * found.size
        addAll(region, "\(ring) packet", start..<start + 128, isNumbered: true)
      }
    }
  }

  // MARK: - Switches

  private mutating func addSwitch(_ memory: Int) {
    addAll(memory, "switch header", 0..<64, width: 4, isNumbered: true)
    addAll(memory, "switch header", 64..<128, isNumbered: true)
    addAll(memory, "switch program", 128..<512)
    addAll(memory, "switch addresses", 4096..<4096 + 8192)
    addAll(memory, "switch port", 4096 + 8192..<4096 + 8192 + 256 * 64, width: 4)
    // The rest: configurations of modules, and counts.
    for page in stride(from: 28_672, to: memories[memory].memory.byteCount, by: 4096)
    where (0..<512).contains(where: { memories[memory].load(page + 8 * $0, 8) != 0 }) {
      addAll(memory, "switch module", page..<page + 4096)
    }
  }
}
